
"use strict";
for (const box of document.querySelectorAll(".table")) {
  const filter = box.querySelector(".filter");
  if (!filter) continue;
  const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")];
  const rows = [...body.rows], status = filter.querySelector("[role=status]");
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const number = (text) => (/^[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( %)?$/i.test(text) ? parseFloat(text.replaceAll(",", "")) : NaN);
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, row.cells[at].textContent.trim()]));
      const numeric = [...keys.values()].every((text) => text === "" || !Number.isNaN(number(text)));
      const order = (a, b) => (numeric ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true }));
      const sorted = [...rows].sort((one, two) => {
        const a = keys.get(one), b = keys.get(two);
        if (a === "" || b === "") return (a === "") - (b === "");  // what is missing stays last
        return down ? order(b, a) : order(a, b);
      });
      body.append(...sorted);
    });
  });
  const input = filter.querySelector("input");
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, at) => {
      const kept = words.every((word) => texts[at].includes(word));
      row.hidden = !kept;
      count += kept;
    });
    status.textContent = `${count} of ${rows.length} rows`;
  };
  input.addEventListener("input", apply);
  apply();
  filter.hidden = false;
}

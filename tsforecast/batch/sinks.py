"""Where forecasts go: `open_sink` gives the place that a configuration names.

The rules that all places keep stand in `tsforecast.batch.ledger`, the tables of a database in
`tsforecast.batch.sql`, the files of a folder in `tsforecast.batch.parquet`.
"""

from __future__ import annotations

from tsforecast.batch.config import SinkConfig
from tsforecast.batch.ledger import Attempt, RunKey, Sink

__all__ = ["Attempt", "RunKey", "Sink", "open_sink"]


def open_sink(sink: SinkConfig, job: str) -> Sink:
    """Open the place where a job writes its forecasts.

    Parameters
    ----------
    sink : SinkConfig
    job : str
        Name of the job: others that share the place are not seen.

    Returns
    -------
    Sink
        A context manager. Nothing is made there before `Sink.begin` or `Sink.prepare`.

    Raises
    ------
    SinkError
        If the place cannot be reached.

    Examples
    --------
    >>> import datetime, tempfile
    >>> import pandas as pd
    >>> from tsforecast.batch.config import SinkConfig
    >>> rows = pd.DataFrame({"series": ["A", "B"], "time": pd.Timestamp("2024-01-02"),
    ...                      "risk": [0.1, 0.3]})
    >>> key = RunKey("prices", datetime.date(2024, 1, 2), "lstm/1", "f00d")
    >>> with open_sink(SinkConfig(path=tempfile.mkdtemp()), "prices") as place:
    ...     attempt = place.begin(key, data_digest="beef", parts=1)
    ...     place.write_part(attempt, 0, rows)
    ...     place.finish(attempt, "ok")
    ...     place.risks()[["series", "risk"]].to_numpy().tolist()
    [['A', 0.1], ['B', 0.3]]
    """
    if sink.database is not None:
        from tsforecast.batch.sql import SqlSink

        password = None if sink.password is None else sink.password.get_secret_value()
        return SqlSink(sink.database, job, password)
    assert sink.path is not None
    from tsforecast.batch.parquet import ParquetSink

    return ParquetSink(sink.path, job)

"""A grid search over networks on the S&P 500, as a new user would write it."""

import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import tsforecast as tsf

if __name__ == "__main__":
    panel = tsf.as_panel(tsf.load_sp500()[["close", "volume"]])
    transform = make_pipeline(tsf.Log(), tsf.LogReturn(columns=["volume"]))
    training = tsf.Training(max_epochs=10)
    model = tsf.RecurrentForecaster(
        target="close", horizon=5, past=["volume"], transform=transform, training=training,
        random_state=0)  # fmt: skip
    grid = {"cell": ["lstm", "gru", "rnn"], "hidden_sizes": [(32,), (64, 32)], "lookback": [20, 60]}
    search = GridSearchCV(model, grid, cv=tsf.RollingOrigin(3, 250), n_jobs=2).fit(panel)
    table = pd.DataFrame(search.cv_results_)
    print(table[["params", "mean_test_score", "std_test_score", "mean_fit_time"]].to_string())
    print(search.best_params_, round(search.best_score_, 4))
    print(search.best_estimator_.predict())

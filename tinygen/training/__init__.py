"""What every training run shares: settings, the loop, the run folder, the log, the progress line.

Reading order: `recipe` (what the loop asks of a family), `loop`, `run`, `metrics`, `config`. The
loop knows recipes by protocol; no family of models is named here.
"""

"""The names of the files and folders that runs read and write."""

# In a workdir: records of the run.
CONFIG = "config.json"
DATA = "data.json"
NETWORKS = "networks.json"
TEACHER = "teacher.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
HISTOGRAMS = "histograms.jsonl"
RELIABILITY = "reliability.json"
REPORT = "report.html"

# In a workdir: folders of the modes export, explain and predict, and their files.
EXPORT = "export"
EXPORTED_WEIGHTS = "student.safetensors"
EXPORTED_DESCRIPTION = "student.json"
EXPORTED_STABLEHLO = "student.stablehlo"
EXPLAIN = "explain"
EXPLANATION = "explanation.json"
EXPLANATION_PAGE = "index.html"
PREDICTIONS = "predict"
PREDICTIONS_PAGE = "index.html"
PREDICTIONS_RECORD = "predictions.json"

# Beside the workdirs: caches that runs share.
COMPILATIONS = ".compilations"
TEACHER_OUTPUTS = ".teacher_outputs"

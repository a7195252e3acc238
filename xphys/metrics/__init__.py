"""How far data are from a reference: errors, distances, ensembles, reconstructions, gaps."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.metrics._analysis import analyze as analyze
    from xphys.metrics._api import compare as compare
    from xphys.metrics._charts import Chart as Chart
    from xphys.metrics._charts import Curve as Curve
    from xphys.metrics._charts import charts as charts
    from xphys.metrics._distances import distances as distances
    from xphys.metrics._ensembles import ensemble_scores as ensemble_scores
    from xphys.metrics._gap import domain_gap as domain_gap
    from xphys.metrics._reports import analysis_metrics as analysis_metrics
    from xphys.metrics._reports import gap_report as gap_report
    from xphys.metrics._reports import sweep_report as sweep_report
    from xphys.metrics._scores import SCORES as SCORES
    from xphys.metrics._scores import scores as scores
    from xphys.metrics._sustained import VERDICTS as VERDICTS
    from xphys.metrics._sustained import sustained as sustained
    from xphys.metrics._view import Comparison as Comparison
    from xphys.metrics._view import summary as summary

__all__ = [
    "SCORES",
    "VERDICTS",
    "Chart",
    "Comparison",
    "Curve",
    "analysis_metrics",
    "analyze",
    "charts",
    "compare",
    "distances",
    "domain_gap",
    "ensemble_scores",
    "gap_report",
    "scores",
    "summary",
    "sustained",
    "sweep_report",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "SCORES": "._scores",
        "VERDICTS": "._sustained",
        "Chart": "._charts",
        "Comparison": "._view",
        "Curve": "._charts",
        "analysis_metrics": "._reports",
        "analyze": "._analysis",
        "charts": "._charts",
        "compare": "._api",
        "distances": "._distances",
        "domain_gap": "._gap",
        "ensemble_scores": "._ensembles",
        "gap_report": "._reports",
        "scores": "._scores",
        "summary": "._view",
        "sustained": "._sustained",
        "sweep_report": "._reports",
    },
)

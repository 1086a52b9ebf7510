"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, as updated in 2024.

Tejani et al. 2024, DOI 10.1148/ryai.240300, table 1; the wording is ours.
"""

from bccli.core.evaluation.checklists import of_data, of_figures, of_model
from bccli.core.evaluation.checklists.state import Checklist, Item

_DESIGN, _DATA, _STANDARD = "Methods: design", "Methods: data", "Methods: reference standard"
_PARTS, _TESTED, _MODEL = "Methods: partitions", "Methods: testing data", "Methods: model"
_TRAINING, _EVALUATION = "Methods: training", "Methods: evaluation"
_RESULTS, _PERFORMANCE, _OTHER = "Results: data", "Results: performance", "Other information"

CLAIM = Checklist(
    "claim",
    "CLAIM, 2024 update",
    "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300, doi:10.1148/ryai.240300",
    (
        Item("1", "Title", "Says that it is about AI, and of which kind", of_model.category),
        Item("2", "Abstract", "Summarises design, methods, results and conclusions under headings"),
        Item("3", "Introduction", "Says why: science, clinic, and what the method is to be used for"),
        Item("4", "Introduction", "Names aims and hypotheses"),
        Item("5", _DESIGN, "Says whether data were collected before or for this study"),
        Item("6", _DESIGN, "Says what the study is to achieve"),
        Item("7", _DATA, "Says where the data come from", of_data.sources),
        Item("8", _DATA, "Says which cases were taken and which were not", of_data.eligibility),
        Item("9", _DATA, "Names the steps from raw images to the model's input", of_data.preprocessing),
        Item("10", _DATA, "Says how a part of the data was chosen", of_data.subsets),
        Item("11", _DATA, "Says how data were made anonymous"),
        Item("12", _DATA, "Says what was done about missing data", of_data.missing),
        Item("13", _DATA, "Says how images were acquired: devices and settings"),
        Item("14", _STANDARD, "Defines how the true class was found"),
        Item("15", _STANDARD, "Says why by this reference standard"),
        Item("16", _STANDARD, "Says who annotated, and what they had learned"),
        Item("17", _STANDARD, "Says how the test set was annotated"),
        Item("18", _STANDARD, "Says how far annotators agree with each other and themselves"),
        Item("19", _PARTS, "Says how cases were assigned to partitions", of_data.partitions),
        Item("20", _PARTS, "Says on which level partitions have nothing in common", of_data.disjointness),
        Item("21", _TESTED, "Says how many cases were intended, and why so many", of_data.study_size),
        Item("22", _MODEL, "Describes the model: inputs, layers, outputs", of_model.architecture),
        Item("23", _MODEL, "Names software and versions", of_model.software),
        Item("24", _MODEL, "Says what the parameters were at first", of_model.initialisation),
        Item("25", _TRAINING, "Says how it was trained: augmentation, hyperparameters", of_model.training),
        Item("26", _TRAINING, "Says how the final model was chosen", of_model.selection),
        Item("27", _TRAINING, "Says whether and how models were joined", of_model.ensembling),
        Item("28", _EVALUATION, "Names the measures of performance", of_figures.metrics),
        Item("29", _EVALUATION, "Says how uncertainty was computed", of_figures.uncertainty),
        Item("30", _EVALUATION, "Looks at robustness or sensitivity", of_figures.robustness),
        Item("31", _EVALUATION, "Says how answers are explained, and how that was checked"),
        Item("32", _EVALUATION, "Tests on held-out data of the same source", of_figures.internal_test),
        Item("33", _EVALUATION, "Tests on data from elsewhere", of_figures.external_test),
        Item("34", _EVALUATION, "Names the registration of a clinical trial"),
        Item("35", _RESULTS, "Counts cases that were taken and left out", of_data.numbers),
        Item("36", _RESULTS, "Describes the patients of each partition", of_data.characteristics),
        Item("37", _PERFORMANCE, "Reports performance on each partition", of_figures.performance),
        Item("38", _PERFORMANCE, "Reports estimates and how precise they are", of_figures.precision),
        Item("39", _PERFORMANCE, "Looks at what was classified wrong", of_figures.failures),
        Item("40", "Discussion", "Names limitations", of_figures.limitations),
        Item("41", "Discussion", "Says what it means for practice and in which role"),
        Item("42", _OTHER, "Refers to the full protocol or technical details", of_model.protocol),
        Item("43", _OTHER, "Says whether software, model and data can be had", of_model.availability),
        Item("44", _OTHER, "Names funders and their part"),
    ),
)  # fmt: skip

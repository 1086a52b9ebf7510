"""TRIPOD+AI, for studies that develop or evaluate prediction models.

Collins et al. 2024, DOI 10.1136/bmj-2023-078378, table 2; the wording is ours.
"""

from bccli.core.evaluation.checklists import of_data, of_figures, of_model
from bccli.core.evaluation.checklists.facts import Facts
from bccli.core.evaluation.checklists.state import Answer, Checklist, Item, together

_INTRODUCTION, _DATA, _PARTICIPANTS = "Introduction", "Methods: data", "Methods: participants"
_OUTCOME, _PREDICTORS, _ANALYSIS = "Methods: outcome", "Methods: predictors", "Methods: analysis"
_METHODS, _OPEN, _RESULTS = "Methods", "Open science", "Results"
_DISCUSSION, _USE = "Discussion", "Discussion: use"


def _building(facts: Facts) -> Answer:
    """The model, its training and how it was chosen."""
    return together(of_model.architecture(facts), of_model.training(facts), of_model.selection(facts))


TRIPOD_AI = Checklist(
    "tripod-ai",
    "TRIPOD+AI",
    "Collins et al. 2024, BMJ 385:e078378, doi:10.1136/bmj-2023-078378",
    (
        Item("1", "Title", "Names development or evaluation, population and outcome", of_model.category),
        Item("2", "Abstract", "Follows TRIPOD+AI for abstracts"),
        Item("3a", _INTRODUCTION, "Says in which care, why, and which models there are"),
        Item("3b", _INTRODUCTION, "Says for whom, for which purpose in care, and for which users"),
        Item("3c", _INTRODUCTION, "Names known inequalities in health between groups"),
        Item("4", _INTRODUCTION, "Names aims: development, evaluation or both"),
        Item("5a", _DATA, "Says where data for development and evaluation come from", of_data.sources),
        Item("5b", _DATA, "Gives the dates between which participants were taken"),
        Item("6a", _PARTICIPANTS, "Describes the setting, and how many centres there were where"),
        Item("6b", _PARTICIPANTS, "Says who was eligible", of_data.eligibility),
        Item("6c", _PARTICIPANTS, "Says which treatments there were, and how they were handled"),
        Item("7", _METHODS, "Says how data were prepared and checked, in all groups", of_data.quality),
        Item("8a", _OUTCOME, "Defines the outcome, its time, and how it was assessed"),
        Item("8b", _OUTCOME, "Says who assessed the outcome, where that takes judgement"),
        Item("8c", _OUTCOME, "Says how assessors of the outcome were blinded"),
        Item("9a", _PREDICTORS, "Says how predictors were chosen before modelling", of_model.predictors),
        Item("9b", _PREDICTORS, "Defines predictors, and how, when and blind to what they were measured"),
        Item("9c", _PREDICTORS, "Says who measured predictors, where that takes judgement"),
        Item("10", _METHODS, "Says how the sample size came about and why it suffices", of_data.study_size),
        Item("11", _METHODS, "Says what was done about missing data", of_data.missing),
        Item("12a", _ANALYSIS, "Says how data were used and divided", of_data.partitions),
        Item("12b", _ANALYSIS, "Says how predictors were scaled or transformed", of_model.transformations),
        Item("12c", _ANALYSIS, "Names the model, all steps of building it, and its internal test", _building),
        Item("12d", _ANALYSIS, "Says how clusters that differ were handled", of_figures.heterogeneity),
        Item("12e", _ANALYSIS, "Names measures and plots of performance", of_figures.measures_and_plots),
        Item("12f", _ANALYSIS, "Says whether the model was updated after evaluation", of_model.updating),
        Item("12g", _ANALYSIS, "Says what predictions were computed with", of_model.calculation),
        Item("13", _METHODS, "Says what was done about class imbalance", of_model.imbalance),
        Item("14", _METHODS, "Says what was done for fairness, and why"),
        Item("15", _METHODS, "Says what the model puts out, and how thresholds were found", of_model.output),
        Item("16", _METHODS, "Says how data of development and evaluation differ", of_data.differences),
        Item("17", _METHODS, "Names who gave ethical approval, and consent or its waiver"),
        Item("18a", _OPEN, "Names funders and their part"),
        Item("18b", _OPEN, "Names conflicts of interest"),
        Item("18c", _OPEN, "Says where the protocol is, or that there is none"),
        Item("18d", _OPEN, "Gives the registration, or says that there is none"),
        Item("18e", _OPEN, "Says whether the data can be had", of_model.availability),
        Item("18f", _OPEN, "Says whether the code can be had", of_model.availability),
        Item("19", "Patients and public", "Says how patients and public took part, or that they did not"),
        Item("20a", _RESULTS, "Counts participants on their way through the study", of_data.numbers),
        Item("20b", _RESULTS, "Describes participants, by source and group", of_data.characteristics),
        Item("20c", _RESULTS, "Compares those of evaluation with those of development"),
        Item("21", _RESULTS, "Counts participants and outcomes in each analysis", of_data.sample_sizes),
        Item("22", _RESULTS, "Gives the full model, for others to use", of_model.whole_model),
        Item("23a", _RESULTS, "Reports performance with intervals, in key groups, too", of_figures.precision),
        Item("23b", _RESULTS, "Reports how performance differs between clusters", of_figures.heterogeneity),
        Item("24", _RESULTS, "Reports what an update of the model came to", of_model.updating),
        Item("25", _DISCUSSION, "Interprets the results, fairness included, beside earlier studies"),
        Item("26", _DISCUSSION, "Names limitations and what they do to the results", of_figures.limitations),
        Item("27a", _USE, "Says how poor or missing input is to be handled in use"),
        Item("27b", _USE, "Says what users have to do and to know"),
        Item("27c", _USE, "Names next steps of research"),
    ),
)  # fmt: skip

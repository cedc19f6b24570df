"""Exams: folders of questions with their own scoring, percentiles and a holdout half."""

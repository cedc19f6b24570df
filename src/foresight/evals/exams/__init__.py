"""Exams: folders of questions with sections, scales, percentiles and a holdout half."""

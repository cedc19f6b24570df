"""What people say of answers: preferences between two models, grades by a rubric."""

"""Duplicates within, between and against image collections, and patients in two splits."""

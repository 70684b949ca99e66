"""HTTP: one session, bounded waits, resumable verified downloads. Errors of the libraries end here and become ours."""

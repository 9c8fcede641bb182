"""A report as one page of HTML that needs nothing else: runs, recordings, arenas, comparisons and benches."""

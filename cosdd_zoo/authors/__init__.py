"""Models that the method's authors' own code (krulllab/COSDD, branch main) has trained, as models of ours."""

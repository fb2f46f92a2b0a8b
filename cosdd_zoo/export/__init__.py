"""From a trained model to a package of the BioImage Model Zoo, and the rules that such a package must keep."""

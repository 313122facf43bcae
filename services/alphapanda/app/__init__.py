"""The composition root: the only place that reads settings and builds adapters. There are no other globals."""

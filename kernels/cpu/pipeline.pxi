# Included by compiled.pyx: pipelines as jobs.

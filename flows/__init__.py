"""When, where and how often the pipeline runs, and what is shown of it. The order of the steps is dvc.yaml's."""

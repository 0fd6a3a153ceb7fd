"""What ties the pipeline to Airflow: the operator, its monitoring, and the embedded stack."""

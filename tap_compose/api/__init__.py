"""The Compose API, version 2016-07. Nothing in here knows of Singer."""

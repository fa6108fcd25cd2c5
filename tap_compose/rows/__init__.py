"""From a body of the API to rows. Nothing in here knows of HTTP or of the Singer SDK."""

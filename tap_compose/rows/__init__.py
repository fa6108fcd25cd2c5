"""Convert bodies of the API to rows, without HTTP and without the Singer SDK."""

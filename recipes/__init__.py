"""The methods, each a page that assembles an ordinary agent from ordinary parts."""

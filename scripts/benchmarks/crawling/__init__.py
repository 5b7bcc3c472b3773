"""What the crawl benchmark is made of: made-up objects, servers, clients, and its parts."""

"""What a crawl's TOML file may say."""

"""Where values come from: RecBole's configuration, yaml files, model names."""

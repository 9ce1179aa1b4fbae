"""What the stages share: settings, the contract between training and serving, the bundle."""

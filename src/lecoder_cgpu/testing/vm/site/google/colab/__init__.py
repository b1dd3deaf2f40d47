"""What notebooks on Colab import as `google.colab`, as far as it talks to the client. Runs on the fake VM."""

"""MLCommons' LoadGen over the classifier: its scenarios, which are no MLPerf scores."""

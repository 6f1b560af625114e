/tmp/tmp.zFklxqtg5f

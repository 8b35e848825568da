def advice(source):
    return []

def page(specs, finds):
    return ""

"""The resources of the API, one blueprint per noun: what is read from a request, which rule is asked, how it
answers.
"""

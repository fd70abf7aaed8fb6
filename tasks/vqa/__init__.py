"""Medical visual question answering: does a language model still understand the image?"""

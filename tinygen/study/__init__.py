"""Reports that a person looks at: charts, pictures and the page that holds them, in one file.

`chart` draws numbers as SVG, `pictures` turns arrays into PNG and animations, `page` puts both and
some words into one HTML file that opens without a network. Nothing here computes a result.
"""

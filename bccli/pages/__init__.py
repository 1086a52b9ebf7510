"""Templates of the pages that bccli writes, and their style sheet; `bccli.terminal.pages` sets them.

`base.html.jinja` is any page: a title, what stands below it, a navigation, a content and a footer. A page
extends it and fills these blocks. Nothing in them runs a script or asks a network.
"""

"""Pictures, a file a notebook: each function draws one from a plain table on a matplotlib `ax`.

A picture computes nothing that is reported: what is fitted or averaged comes from `analysis`.
`style` has what all of them share, and is called once, before the first picture.
"""

from xlnb.common.text import shorten
from xlnb.figures.style import model_label, model_name, panels, style

"""What a trained run is asked, a file for each question.

The first line of a file says what it answers and ends in its command; `KINDS` names the kinds of run that it is about.
From both the report makes its list of what to ask next, until the question has been asked.
"""

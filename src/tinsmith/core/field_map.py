"""The table `data.fields`: which fields of the owner's records hold what."""

from tinsmith.core.section import Section, Text


class FieldMap(Section):
    """Names of the fields of your records, for shapes that tinsmith does not know.

    A name may be a path with dots, such as `meta.topic` or `answers.0.text`. Where records differ, `|` stands between
    names: `title|subject`. `tinsmith check` proposes the line.
    """

    question: Text = ""
    """Field with the question."""
    answer: Text = ""
    """Field with the answer."""
    context: Text = ""
    """Field with a text that the question is about. It goes below the question."""
    system: Text = ""
    """Field with the system prompt."""
    category: Text = ""
    """Field with the category."""
    id: Text = ""
    """Field with the record's id."""
    messages: Text = ""
    """Field with a list of messages, in place of question and answer."""
    role: Text = ""
    """Field of a message that says who speaks."""
    content: Text = ""
    """Field of a message with its text."""
    assistant: Text = ""
    """Who answers: a role in messages, or a name in a WhatsApp chat. All others ask."""

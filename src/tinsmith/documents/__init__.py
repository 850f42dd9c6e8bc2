"""Read Markdown, text, HTML, PDF and DOCX files as headings, paragraphs, list items and table rows."""

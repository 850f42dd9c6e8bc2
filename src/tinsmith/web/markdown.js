/**
 * Renders chat models' Markdown as DOM nodes: paragraphs, lists, headings, code, bold and italic.
 *
 * All text ends up in text nodes. Nothing is parsed as HTML, and there are no links.
 */

const FENCE = /^\s*(```|~~~)/;
const HEADING = /^#{1,6}\s+(.*?)\s*#*$/;
const BULLET = /^\s*[-*+]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+(.*)$/;
const INLINE =
  /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?)(?<=\S)\*\*|(?<![\w*])\*(?=[^\s*])(.+?)(?<=[^\s*])\*(?![\w*])|(?<!\w)_(?=[^\s_])(.+?)(?<=[^\s_])_(?!\w)/;

/**
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function markdown(text) {
  const page = document.createDocumentFragment();
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (FENCE.test(line)) at = codeBlock(lines, at, page);
    else if (BULLET.test(line)) at = list(lines, at, "ul", BULLET, page);
    else if (NUMBER.test(line)) at = list(lines, at, "ol", NUMBER, page);
    else if (!line.trim()) at += 1;
    else at = paragraph(lines, at, page);
  }
  return page;
}

/** @param {string[]} lines @param {number} at @param {Node} page @returns {number} the first line after the block */
function codeBlock(lines, at, page) {
  const mark = /** @type {RegExpExecArray} */ (FENCE.exec(lines[at]))[1];
  let end = at + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(mark)) end += 1;
  const block = document.createElement("pre");
  const code = document.createElement("code");
  code.textContent = lines.slice(at + 1, end).join("\n");
  block.append(code);
  block.tabIndex = 0; // so that long lines can be scrolled without a mouse
  page.appendChild(block);
  return end + 1;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {"ul" | "ol"} kind
 * @param {RegExp} mark
 * @param {Node} page
 * @returns {number} the first line after the list
 */
function list(lines, at, kind, mark, page) {
  const items = document.createElement(kind);
  const first = /** @type {RegExpExecArray} */ (mark.exec(lines[at]));
  if (kind === "ol") items.setAttribute("start", String(Number(first[1])));
  for (let match; at < lines.length && (match = mark.exec(lines[at])); at += 1) {
    const item = document.createElement("li");
    item.append(...inline(/** @type {string} */ (match.at(-1))));
    items.append(item);
  }
  page.appendChild(items);
  return at;
}

/** @param {string[]} lines @param {number} at @param {Node} page @returns {number} the first line after the paragraph */
function paragraph(lines, at, page) {
  const block = document.createElement("p");
  const heading = HEADING.exec(lines[at]);
  if (heading) {
    block.className = "heading";
    block.setAttribute("role", "heading");
    block.setAttribute("aria-level", "2");
    block.append(...inline(heading[1]));
    page.appendChild(block);
    return at + 1;
  }
  const isText = (/** @type {string} */ line) =>
    line.trim() && ![FENCE, BULLET, NUMBER, HEADING].some((mark) => mark.test(line));
  for (let count = 0; at < lines.length && (count === 0 || isText(lines[at])); at += 1, count += 1) {
    if (count) block.append(document.createElement("br"));
    block.append(...inline(lines[at]));
  }
  page.appendChild(block);
  return at;
}

/** @param {string} text @returns {Node[]} */
function inline(text) {
  /** @type {Node[]} */
  const nodes = [];
  let rest = text;
  for (let match; (match = INLINE.exec(rest)); rest = rest.slice(match.index + match[0].length)) {
    if (match.index) nodes.push(document.createTextNode(rest.slice(0, match.index)));
    const [, ticks, code, bold, star, underline] = match;
    const element = document.createElement(ticks ? "code" : bold ? "strong" : "em");
    if (ticks) element.textContent = code;
    else element.append(...inline(bold ?? star ?? underline));
    nodes.push(element);
  }
  if (rest) nodes.push(document.createTextNode(rest));
  return nodes;
}

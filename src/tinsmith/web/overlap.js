/**
 * Overlap: the share of a question's letters that a passage also has, four at a time, rare ones counting more.
 *
 * Formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, over grams instead of
 * words, divided by the weight of all grams of the question. `tinsmith.model.answers.grams` does the same in Python.
 */

/** Characters of a gram. */
const GRAM_CHARACTERS = 4;

/** How soon repetitions of a gram stop counting (k), and how much long passages are discounted (b). */
const REPETITION = 1.2;
const LENGTH_DISCOUNT = 0.5;

/** @param {string} text @returns {string[]} */
function wordsOf(text) {
  return (
    text
      .normalize("NFC")
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}

/** @param {string} word @returns {string[]} every 4 characters in a row of the word between spaces; all of a shorter one */
export function gramsOf(word) {
  const characters = [...` ${word} `];
  const count = Math.max(1, characters.length - GRAM_CHARACTERS + 1);
  return Array.from({ length: count }, (_, start) => characters.slice(start, start + GRAM_CHARACTERS).join(""));
}

/** The grams of a set of passages. */
export class Overlap {
  /** Number of each gram that occurs. @type {Map<string, number>} */
  #gramIds = new Map();

  /** Grams of each word that occurs. @type {Map<string, Int32Array>} */
  #words = new Map();

  /** Words of each passage, as their grams. @type {Int32Array[][]} */
  #passages;

  /** Grams of each passage, repetitions too. @type {number[]} */
  #lengths;

  /** Number of passages with each gram. @type {Int32Array} */
  #passageCounts;

  /** Weight of each gram in the current question; 0 for others. @type {Float64Array} */
  #weights;

  /** Occurrences of each gram in the current passage. @type {Int32Array} */
  #counts;

  /** Known grams of the current question. @type {number[]} */
  #question = [];

  /** Weight of all grams of the current question, of those that no passage has too. */
  #totalWeight = 0;

  /** @param {string[]} texts of the passages */
  constructor(texts) {
    this.#passages = texts.map((text) => wordsOf(text).map((word) => this.#numbered(word)));
    this.#lengths = this.#passages.map((words) => words.reduce((sum, grams) => sum + grams.length, 0));
    this.meanLength = this.#lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, texts.length);
    const grams = this.#gramIds.size;
    this.#passageCounts = new Int32Array(grams);
    this.#weights = new Float64Array(grams);
    this.#counts = new Int32Array(grams);
    const lastPassage = new Int32Array(grams).fill(-1);
    this.#passages.forEach((words, passage) => {
      for (const word of words) {
        for (const gram of word) {
          if (lastPassage[gram] === passage) continue;
          lastPassage[gram] = passage;
          this.#passageCounts[gram] += 1;
        }
      }
    });
  }

  /** @param {string} word @returns {Int32Array} its grams, with new numbers for new ones */
  #numbered(word) {
    const known = this.#words.get(word);
    if (known) return known;
    const numbers = gramsOf(word).map((gram) => {
      const id = this.#gramIds.get(gram) ?? this.#gramIds.size;
      this.#gramIds.set(gram, id);
      return id;
    });
    const grams = new Int32Array(numbers);
    this.#words.set(word, grams);
    return grams;
  }

  /** @param {string} question that the next calls of `of` compare with */
  setQuestion(question) {
    for (const gram of this.#question) this.#weights[gram] = 0;
    this.#question = [];
    this.#totalWeight = 0;
    for (const gram of new Set(wordsOf(question).flatMap(gramsOf))) {
      const id = this.#gramIds.get(gram);
      const weight = this.#rarity(id === undefined ? 0 : this.#passageCounts[id]);
      this.#totalWeight += weight;
      if (id === undefined) continue;
      this.#question.push(id);
      this.#weights[id] = weight;
    }
  }

  /** @param {number} passages that have a gram @returns {number} its weight */
  #rarity(passages) {
    return Math.log(1 + (this.#passages.length - passages + 0.5) / (passages + 0.5));
  }

  /** @param {number} passage @returns {number} 0 if it shares no gram with the question */
  of(passage) {
    if (!this.#question.length) return 0;
    for (const gram of this.#question) this.#counts[gram] = 0;
    for (const word of this.#passages[passage]) {
      for (const gram of word) if (this.#weights[gram]) this.#counts[gram] += 1;
    }
    const discount = REPETITION * (1 - LENGTH_DISCOUNT + (LENGTH_DISCOUNT * this.#lengths[passage]) / this.meanLength);
    let sum = 0;
    for (const gram of this.#question) {
      const count = this.#counts[gram];
      sum += (this.#weights[gram] * count * (REPETITION + 1)) / (count + discount);
    }
    return sum / this.#totalWeight;
  }
}

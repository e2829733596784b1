/** Exponential moving average of a growing curve. */

/**
 * Debiased exponential moving average, as TensorBoard smooths: early values are not pulled towards zero, gaps (null)
 * stay gaps and do not count. Kept from call to call, so that a curve that has grown costs only its new points.
 */
export class Smoothing {
  readonly #values: (number | null)[] = [];
  #weight = -1;
  #revision = -1;
  #last = 0;
  #bias = 1;

  /**
   * The smoothed column, of the length of `column`; the array is reused by the next call.
   * @param weight of the past, in [0, 1): 0 leaves the curve as it is
   * @param revision a number that changes whenever older values did
   */
  update(column: readonly (number | null)[], weight: number, revision: number): readonly (number | null)[] {
    if (weight !== this.#weight || revision !== this.#revision || column.length < this.#values.length) {
      this.#values.length = 0;
      this.#weight = weight;
      this.#revision = revision;
      this.#last = 0;
      this.#bias = 1;
    }
    for (let index = this.#values.length; index < column.length; index++) {
      const value = column[index] ?? null;
      if (value === null) {
        this.#values.push(null);
        continue;
      }
      this.#last = this.#last * weight + (1 - weight) * value;
      this.#bias *= weight;
      this.#values.push(this.#last / (1 - this.#bias));
    }
    return this.#values;
  }
}

/** `npm run test:full`: what `npm test` tries some times it tries often, and what it tries on a few steps on many. */
export const full = process.env['GPT_LAB_TESTS'] === 'full';

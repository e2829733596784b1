/** What cells find without an import, as declarations: runner/main.ts puts it there. */
export const CELL_GLOBALS = `
/** Shows a value under the cell, richly where it can; also \`import { display } from 'gpt-lab'\`. */
declare const display: typeof import('gpt-lab').display;
/** Asks for a line of text: \`const name = await prompt('Your name?')\`. A password is hidden while it is typed. */
declare function prompt(question?: string, options?: { password?: boolean }): Promise<string>;
/** Asks a question whose answer is yes or no: \`if (await confirm('Go on?')) …\`. */
declare function confirm(question?: string): Promise<boolean>;
`;

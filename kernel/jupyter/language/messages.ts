/** Questions about code, from the kernel's supervisor to its language process, and their answers. Positions are UTF-16. */

/** A place in a cell, and the cells before it that have perhaps not been run. */
export interface CellPosition {
  readonly code: string;
  readonly cursor: number;
  readonly earlier: readonly string[];
}

/** A place where something is to be completed. */
export interface CompletionPosition extends CellPosition {
  /** Whether what would have to be imported is offered, too. */
  readonly imports: boolean;
}

/** What may follow at the cursor: `matches` replace what stands from `start` to the cursor, the likeliest first. */
export interface Completions {
  readonly start: number;
  readonly matches: readonly Match[];
}

export interface Match {
  readonly text: string;
  /** `function`, `class`, `property`, …: what front ends choose an icon by. */
  readonly type: string;
  /** The module that it is to be imported from. */
  readonly module?: string;
}

/** What is at the cursor. */
export interface Inspection {
  /** Its type, as TypeScript. */
  readonly signature: string;
  /** Its documentation, as Markdown. */
  readonly documentation: string;
}

/** The call that the cursor is in. */
export interface SignatureHelp {
  readonly signatures: readonly Signature[];
  readonly activeSignature: number;
  readonly activeParameter: number;
}

export interface Signature {
  readonly label: string;
  readonly documentation: string;
  /** `label` is a part of the signature's. */
  readonly parameters: readonly { readonly label: string; readonly documentation: string }[];
}

/** Something that TypeScript finds wrong in a cell. */
export interface Diagnostic {
  readonly start: number;
  readonly end: number;
  readonly message: string;
  /** TypeScript's number for it. */
  readonly code: number;
  readonly severity: 'error' | 'warning';
}

/** Every question, by its name: what is asked, and what is answered. */
export interface Questions {
  complete: { ask: CompletionPosition; answer: Completions };
  inspect: { ask: CellPosition; answer: Inspection | null };
  signatures: { ask: CellPosition; answer: SignatureHelp | null };
  /** One list per cell of the notebook. */
  diagnose: { ask: { readonly cells: readonly string[] }; answer: readonly (readonly Diagnostic[])[] };
}

export type QuestionName = keyof Questions;

/** Supervisor to language process. */
export type LanguageCommand =
  | {
      [Name in QuestionName]: {
        readonly type: 'ask';
        readonly id: number;
        readonly name: Name;
        readonly question: Questions[Name]['ask'];
      };
    }[QuestionName]
  /** These cells have been run, after those before. */
  | { readonly type: 'executed'; readonly cells: readonly string[] }
  /** Their variables are lost. */
  | { readonly type: 'forget' };

/** Language process to supervisor. */
export type LanguageReport =
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly reason: string };

/** Something wrong with a value of the configuration: where in the file's own terms, and what, with what is allowed. */
export interface Problem {
  path: PropertyKey[];
  message: string;
}

/** A reason to stop that is meant for the user, with what to do next: printed without a stack. */
export class Refusal extends Error {}

/** One object for each container: entered before its first call, exited when it stops. */
export class Ledger {
  constructor({ currency = 'EUR' } = {}) {
    this.currency = currency;
  }

  async enter() {
    this.sum = 0;
    console.log('opened');
  }

  add(amount) {
    this.sum += amount;
    return `${this.sum} ${this.currency}`;
  }

  async exit() {
    console.log('closed at', this.sum, this.currency);
  }
}

//! Prints the man page; `make man` puts it into dist.

mod page;

fn main() {
    print!("{}", page::print());
}

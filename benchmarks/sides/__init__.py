"""How each library is asked to solve a problem: as its documentation recommends for speed."""

"""By which convention does a layer compute? Found out from nothing but what it returns."""
